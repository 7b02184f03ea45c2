"""老带新 at the edge: contact ways of inviters, posters, and what both sides hear."""
