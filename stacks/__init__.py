"""Stack files, and the code that makes ZenML match one."""
