"""Commands of the command line beside the main job, a group a file; `kinelift.cli` puts them together."""
