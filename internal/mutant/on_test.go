//go:build mutants

package mutant

import "testing"

// TestChoose holds that a bug that is not there is not taken for none.
func TestChoose(t *testing.T) {
	for s, want := range map[string]int{"": 0, "0": 0, "40": Last} {
		if got := choose(s); got != want {
			t.Errorf("%q chooses %d, want %d", s, got, want)
		}
	}
	for _, s := range []string{"41", "-1", "M4"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q chooses a bug", s)
				}
			}()
			choose(s)
		}()
	}
}
