import sys

from tfrecsession.cli import main

sys.exit(main())
