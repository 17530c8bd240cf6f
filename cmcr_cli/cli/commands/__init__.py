"""The commands of `cmcr`, one file each."""
