package tally

import "testing"

// TestAmounts holds that CI never asks for more than a night, nor a plain run
// for more than CI, and that no name stands twice.
func TestAmounts(t *testing.T) {
	all, err := Amounts()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range all {
		if a.Quick < 1 || a.Quick > a.CI || a.CI > a.Nightly {
			t.Errorf("%s: %d, %d, %d do not grow", a.Name, a.Quick, a.CI, a.Nightly)
		}
		if seen[a.Name] {
			t.Errorf("%s stands twice", a.Name)
		}
		seen[a.Name] = true
	}
}
