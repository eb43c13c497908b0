package blocks

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// keptVar names the directory of a recording that was kept, and the moment of
// it that is to be played back again.
const keptVar = "HOLDFAST_BLOCKS_KEPT"

// kept is what is kept of a recording beside its image and its log.
type kept struct {
	Kind     string
	Buffered bool
	History  *history
	N        int
	Seed     uint64
}

// keep keeps the recording in dir, because the next one will be another, and
// returns the command that plays m of it back.
func (r *recording) keep(t *testing.T, dir string, m moment) string {
	t.Helper()
	about, err := json.Marshal(kept{r.kind.name, r.buffered, r.history, m.n, m.seed})
	ok(t, err)
	base := createFile(t, filepath.Join(dir, "base"))
	ok(t, errors.Join(
		r.base.save(base), base.Close(),
		os.WriteFile(filepath.Join(dir, "log"), r.raw, 0o600),
		os.WriteFile(filepath.Join(dir, "about"), about, 0o600),
	))
	return fmt.Sprintf("replay: %s=%s go test -run TestReplays, in test/blocks", keptVar, dir)
}

// playKept plays the moment back that is kept in dir.
func playKept(t *testing.T, dir string) error {
	t.Helper()
	about, err := os.ReadFile(filepath.Join(dir, "about"))
	ok(t, err)
	var k kept
	ok(t, json.Unmarshal(about, &k))
	r := &recording{mode: mode{map[string]kind{ext4.name: ext4, xfs.name: xfs}[k.Kind], k.Buffered}, history: k.History}
	r.base, err = readImage(filepath.Join(dir, "base"))
	ok(t, err)
	r.raw, err = os.ReadFile(filepath.Join(dir, "log"))
	ok(t, err)
	r.log, err = parse(r.raw)
	ok(t, err)
	ok(t, r.history.settle())
	return newPlayer(t, r).play(moment{k.N, k.Seed})
}
