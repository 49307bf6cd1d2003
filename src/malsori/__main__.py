"""`python -m malsori` is the command `malsori`."""

from malsori.cli import main

if __name__ == "__main__":
    main()
