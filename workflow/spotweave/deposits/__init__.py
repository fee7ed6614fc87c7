"""What others have filed, opened with care: nothing it announces, links to or unpacks to is believed."""
