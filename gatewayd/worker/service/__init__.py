"""What the service worker answers about threads and graphs: states, histories, updates and descriptions."""
