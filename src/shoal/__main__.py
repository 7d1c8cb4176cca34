"""`python -m shoal`: a first look (first_look.py)."""

from shoal.first_look import main

if __name__ == "__main__":
    main()
