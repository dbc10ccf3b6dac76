"""``python -m interlock`` is the command ``interlock``."""

from interlock.bootstrap import main

if __name__ == "__main__":
    main()
