"""The pages of specs/reference, which are made of the code: settings, commands, metrics and HTTP."""
