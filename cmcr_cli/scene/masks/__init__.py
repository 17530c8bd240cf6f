"""Cloud masks from outside: what their values mean, and reading them as cloud classes."""
