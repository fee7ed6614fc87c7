"""Tables and configuration: read with the standard library, checked whole before anything starts."""
