"""Composites: photographs of open faces with pasted occluders, whose masks are exact."""
