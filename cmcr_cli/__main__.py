"""`python -m cmcr_cli` is the same as `cmcr`."""

from cmcr_cli.cli.main import main

if __name__ == "__main__":
    main()
