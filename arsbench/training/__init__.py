"""What a method trains with: the job, the averaged weights, and the command that runs it."""
