"""`python -m shoal`: a first look, or a script, module or code with scikit-learn patched."""

import sys

if __name__ == "__main__":
    from shoal.accel import command

    command.main(sys.argv[1:])
