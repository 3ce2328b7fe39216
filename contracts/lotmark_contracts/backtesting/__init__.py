"""Tries a package on what has happened: what would it have paid, and decided otherwise?"""
