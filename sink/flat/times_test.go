package flat

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/row"
)

// TestTimes writes moments in each form, and leaves all else alone.
func TestTimes(t *testing.T) {
	sc := &row.Schema{Table: "t", Columns: []row.Column{
		{Name: "a", Type: "timestamptz"}, {Name: "b", Type: "timestamp"}, {Name: "c", Type: "text"}, {Name: "d", Type: "timestamptz"},
	}}
	r := []row.Row{
		{Seq: 1, Schema: sc, Values: []row.Value{row.Text("2026-11-21 00:47:52.5+01"), row.Text("2026-11-21 00:47:52"), row.Text("2026-11-21 00:47:52+01"), row.Null}},
		{Seq: 2, Schema: sc, Values: []row.Value{row.Text("2026-11-21 00:47:52Z"), row.Text("infinity"), row.Text("1795218472"), row.Text("")}},
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "2026-11-21 00:47:52.5+01|2026-11-21 00:47:52|2026-11-21 00:47:52+01|\\N\n2026-11-21 00:47:52Z|infinity|1795218472|\n"},
		{Options{Times: Clock}, "2026-11-21 00:47:52.5|2026-11-21 00:47:52|2026-11-21 00:47:52+01|\\N\n2026-11-21 00:47:52|infinity|1795218472|\n"},
		{Options{Times: Epoch}, "1795218472.5|1795222072|2026-11-21 00:47:52+01|\\N\n1795222072|infinity|1795218472|\n"},
		{Options{Times: Epoch, Zone: time.FixedZone("", 3600)}, "1795218472.5|1795218472|2026-11-21 00:47:52+01|\\N\n1795222072|infinity|1795218472|\n"},
	} {
		dir := t.TempDir()
		mustDeliver(t, mustAttach(t, mustOpen(t, dir, c.o)), r)
		got, err := os.ReadFile(filepath.Join(dir, "t_0.log"))
		if err != nil || string(got) != c.want {
			t.Errorf("times %q: %v, got\n%swant\n%s", c.o.Times, err, got, c.want)
		}
	}
	if _, err := Open(t.TempDir(), Options{Times: "seconds"}); err == nil {
		t.Error("unknown times are taken")
	}
}
