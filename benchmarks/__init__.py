"""How fast Siyu is: one module per question, each measuring the limit in the same run."""
