"""The user's project: importing what langgraph.json names, graphs and their factories, and what is told of
the user's exceptions.
"""
