package holdfast_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast"
)

// TestIndexWarm holds that slices become warm by the budget and by messages on
// /index, that look-ups use them there, and that maxSizeWarm lets them leave.
func TestIndexWarm(t *testing.T) {
	dir, warm := t.TempDir(), filepath.Join(t.TempDir(), "warm")
	const budget, most = 40 << 10, 30 << 10
	one := holdfast.Index{Columns: []string{"src_ip"}, Budget: budget, Warm: holdfast.Directory{Dir: warm, Size: most}}
	o := holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Index: one}}}
	db := open(t, dir, o)
	accounts(t, db, 1, 12)
	at := filepath.Join(dir, "streams", "main")
	hot, cool := slicesIn(t, at), slicesIn(t, warm)
	if len(hot) < 2 || len(cool) < 2 || len(hot)+len(cool) >= 12 || cool[len(cool)-1] >= hot[0] {
		t.Fatalf("hot %v, warm %v", hot, cool)
	}
	st := *db.Status().Streams[0].Index
	if st.Bytes > budget || st.Warm.Bytes > most || st.Warm.Bytes == 0 || st.Warm.Limit != most || st.Warm.Slices != len(cool) || st.Slices != len(hot)+len(cool) {
		t.Errorf("status %+v", st)
	}
	oldest := strings.TrimLeft(strings.TrimSuffix(cool[0], ".idx"), "0")
	check := func(when string, opened, asked int) {
		t.Helper()
		rows, e := looked(t, db, holdfast.ReadOptions{Where: fmt.Sprintf(`src_ip == "192.0.2.%s"`, oldest)})
		if len(rows) != 10 || e.Opened != opened || e.Slices != asked {
			t.Errorf("%s: %d rows, %+v", when, len(rows), e)
		}
	}
	check("by its warm slice", 12-st.Slices+1, st.Slices)
	roll := func(params string) holdfast.Rolled {
		t.Helper()
		m, err := holdfast.ParseRoll("/index", "sizeRoll", params)
		if err != nil {
			t.Fatal(err)
		}
		done, err := db.Roll(m, "carol", true)
		if err != nil || !done.Plan.Met {
			t.Fatalf("%s: %+v, error %v", params, done, err)
		}
		if err := db.SettleIndexes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return done
	}
	roll(fmt.Sprintf("maxSize=1TB maxSizeWarm=%.6fMB", float64(st.Warm.Bytes)/2/(1<<20)))
	cut := slicesIn(t, warm)
	if len(cut) == 0 || len(cut) >= len(cool) || cut[len(cut)-1] != cool[len(cool)-1] || !slices.Equal(slicesIn(t, at), hot) {
		t.Errorf("maxSizeWarm: warm %v, before %v", cut, cool)
	}
	roll(fmt.Sprintf("maxSize=%.6fMB", float64(st.Bytes)*3/4/(1<<20)))
	fewer, more := slicesIn(t, at), slicesIn(t, warm)
	if len(fewer) == 0 || len(fewer) >= len(hot) || more[len(more)-1] >= fewer[0] || more[len(more)-1] < hot[0] {
		t.Errorf("maxSize: hot %v, before %v; warm %v, before %v", fewer, hot, more, cut)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, o)
	if err := db.SettleIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slicesIn(t, at), fewer) || !slices.Equal(slicesIn(t, warm), more) {
		t.Errorf("after a restart hot %v, warm %v; before %v, %v", slicesIn(t, at), slicesIn(t, warm), fewer, more)
	}
	check("after a restart, without its slice", 12-len(fewer)-len(more), len(fewer)+len(more))
}

// TestIndexWarmAway holds that a warm tier that is not there costs slices and no
// start, unless the configuration says that it must be there.
func TestIndexWarmAway(t *testing.T) {
	dir, warm := t.TempDir(), filepath.Join(t.TempDir(), "warm")
	with := func(exists bool) holdfast.Options {
		one := holdfast.Index{Columns: []string{"src_ip"}, Budget: 40 << 10, Warm: holdfast.Directory{Dir: warm, Exists: exists}}
		return holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Index: one}}}
	}
	if db, err := holdfast.Open(dir, with(true)); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("a start without it: %v, %v", db, err)
	}
	db := open(t, dir, with(false))
	accounts(t, db, 1, 6)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(slicesIn(t, warm)) == 0 {
		t.Fatal("nothing is warm")
	}
	if err := os.Rename(warm, warm+".away"); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, with(false))
	accounts(t, db, 7, 8)
	if st := *db.Status().Streams[0].Index; st.Warm.There || st.Trouble != "" || st.Slices == 0 {
		t.Errorf("without it: %+v", st)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(warm+".away", warm); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, with(true))
	if err := db.SettleIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	hot, cool := slicesIn(t, filepath.Join(dir, "streams", "main")), slicesIn(t, warm)
	if len(hot) == 0 || len(cool) == 0 || len(hot)+len(cool) != 8 || slices.ContainsFunc(hot, func(name string) bool { return slices.Contains(cool, name) }) {
		t.Errorf("when it is back: hot %v, warm %v", hot, cool)
	}
}
