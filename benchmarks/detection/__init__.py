"""How soon bad versions are caught, and how often good ones are condemned, beside the rules of other systems."""
