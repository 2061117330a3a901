"""Pictures from files, folders and streams, decoded in a process of their own."""
