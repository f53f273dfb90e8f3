"""The report's sections: each module computes one from a study, and says in a sentence where it cannot."""
