"""Scikit-learn's examples of imputation, as functions of the imputer: the one line that changes."""
