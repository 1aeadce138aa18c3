"""`python -m appliance` is the same as the command `interview-grader`."""

import sys

from appliance.cli import main

sys.exit(main())
