"""Why a run stands still."""
