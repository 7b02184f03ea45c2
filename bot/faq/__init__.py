"""The shop's answers: articles read from a file, and the matcher that finds the one a customer means."""
