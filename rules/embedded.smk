# The table that ships with the workflow, made anew on request
