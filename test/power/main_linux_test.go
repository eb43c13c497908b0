package power

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdfast/test/mounts"
)

func TestMain(m *testing.M) { mounts.Main(m) }

// seeded returns a source of randomness, and the seed that gives it back
// through HOLDFAST_SEED. When the power goes, the clock decides too.
func seeded(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := mounts.Seed(t)
	return rand.New(rand.NewPCG(seed, 0)), seed
}

// replay is the command that runs a test again.
func replay(t *testing.T, seed uint64) string {
	return fmt.Sprintf("HOLDFAST_SEED=%d go test ./test/power -run '^%s$'", seed, t.Name())
}
