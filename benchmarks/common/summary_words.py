"""What the figures below a table are called; the keys are those of "summary" in results/*.json."""

from __future__ import annotations

__all__ = ["label"]

_METHODS = {
    "accelerated": "quasi-Newton (cem)",
    "damped": "Anderson, damped",
    "squarem": "SQUAREM",
    "undamped": "Anderson, undamped",
    "expanded": "parameter-expanded",
    "alone": "cem, with ℓ* the better of cem and plain EM",
}
_LABELS = {
    "hard_seeds_passed_over": "Seeds passed over, on which plain EM needs fewer than 1,000 passes",
    "hard_told": "Hard problems that report after 30 passes that they have not converged",
    "hard_converged": "Hard problems that converge in the end",
    "hard_gained_of_tolerance": "Largest gain of further plain passes on these, as a share of the tolerance",
    **{
        f"{engines}_{key}": f"{engines}, {words}"
        for engines in ("FD002", "FD004")
        for key, words in {
            "rmse_ratio": "mean RMSE inside ÷ by hand",
            "points_from_90_by_hand": "points of coverage from 90 %, by hand",
            "points_from_90_inside": "points of coverage from 90 %, inside",
        }.items()
    },
    "mean_rmse_ratio": "RMSE with a broken sensor ÷ intact, mean over sensors and kinds",
    "mean_coverage_90": "90 % intervals that hold with a broken sensor, as a share",
    "gross_named": "Sensors at 0, or with one reading × 10, that are named, as a share",
    "intact_flagged": "Intact engines that are flagged, as a share",
    "batch_against_loop": "Readings a second in a batch, one thread, ÷ those of the Python loop",
    "two_calls_against_one": "Two calls on two cores ÷ one after the other",
    "two_threads_against_one": "One batch on two threads ÷ on one",
    "largest_ari_without": "Largest ARI without the load",
    "least_ari_with": "Least ARI with the load",
    "warned_without": "Fleets warned without the load",
    "warned_with": "Fleets warned with the load",
    **{
        f"{kind}_median_ratio_{key}": f"Median share of plain EM's passes, {kind} problems, {method}"
        for kind in ("hard", "easy")
        for key, method in _METHODS.items()
    },
}


def label(key: str) -> str:
    """The words for a key; a key that has none is written out."""
    return _LABELS.get(key) or key.replace("_", " ").capitalize().replace("C-mapss fd003", "C-MAPSS FD003")
