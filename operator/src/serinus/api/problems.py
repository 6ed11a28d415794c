"""What is wrong with a spec, told to the person who wrote it."""

from pydantic import ValidationError


def spec_problems(error: ValidationError) -> str:
    """Each problem as a sentence that begins with the field's path, such as `spec.canary.steps.0.duration: ...`."""
    return " ".join(f"spec.{'.'.join(map(str, one['loc']))}: {one['msg']}." for one in error.errors())
