"""`python -m respin_client` is the `respin` command."""

from respin_client.command import main

if __name__ == "__main__":
    main()
