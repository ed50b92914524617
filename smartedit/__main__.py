"""The command line as `python -m smartedit`, which is how `accelerate launch -m` starts it."""

from smartedit.cli import main

if __name__ == "__main__":
    main()
