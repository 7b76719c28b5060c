
problem_handler = None
