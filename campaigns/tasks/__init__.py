"""Community tasks (社群任务): quizzes, votes, days in a row, reviews and monthly tasks, and the rewards for them."""
