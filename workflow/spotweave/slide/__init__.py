"""The H&E picture: pyramid, thumbnail, patches."""
