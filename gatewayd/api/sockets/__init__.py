"""Below HTTP: the listening socket, how many connections there may be, and what is answered and logged when
something is not HTTP.
"""
