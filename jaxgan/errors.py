"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake that the user can mend: what was found, what was expected, what to do.

    Launchers print the message alone, without a traceback, and exit with code 2.
    """
