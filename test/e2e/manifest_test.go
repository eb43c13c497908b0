package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// searched returns what manifest search prints, line by line.
func searched(t *testing.T, args ...string) (lines []string) {
	t.Helper()
	r := command(t, t.TempDir(), nil, program, append([]string{"manifest", "search"}, args...)...)
	if r.code != 0 {
		t.Fatalf("manifest search %q: exit code %d: %s", args, r.code, r.stderr)
	}
	return strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
}

// TestManifestSearch asks which segment held a session, while it is there, in
// the trash and gone, of the running server and of the stopped one.
func TestManifestSearch(t *testing.T) {
	data := dataDir(t)
	text := rollingStreams + "manifest_dir: " + filepath.Join(data, "kept") + "\n"
	config := configure(t, data, text)
	s := start(t, data, options{config: config})
	family(t, s, 1, 20)

	var beside struct {
		Filename           string
		ID1, ID2           uint64
		Session1, Session2 int64
		Rows               uint64
		SHA256             string
	}
	first := filepath.Join(data, "packet", "0000000000000001.json")
	eventually(t, time.Minute, "the manifest of packet's first segment", func() (bool, string) {
		content, err := os.ReadFile(first)
		return err == nil && json.Unmarshal(content, &beside) == nil, string(content)
	})
	if beside.Filename != "0000000000000001.seg" || beside.ID1 != 1 || beside.Session1 != 1 || beside.Session2 != int64(beside.ID2) || beside.Rows != beside.ID2 || beside.Rows < 3 || len(beside.SHA256) != 64 {
		t.Errorf("beside the first segment of packet stands %+v", beside)
	}

	each := func(what string, link string, want ...string) {
		t.Helper()
		eventually(t, time.Minute, what, func() (bool, string) {
			lines := searched(t, "--config", config, "--link", link)
			for _, l := range lines {
				for _, w := range want {
					if !strings.Contains(l, w) {
						return false, strings.Join(lines, "\n")
					}
				}
			}
			return len(lines) == 3, strings.Join(lines, "\n")
		})
	}
	each("session 2 in three segments", "2", "session_id 1 to ", ": hot")
	holdfast(t, 0, "roll", "size", "--max-size", "4MB", "--apply", "--config", config)
	each("session 2 in the trash", "2", "session_id 1 to ", ": trash until")
	holdfast(t, 0, "roll", "undo", "--config", config)
	each("session 2 again", "2", ": hot")

	s.stop()
	config = configure(t, data, strings.ReplaceAll(text, "undo: 1h", "undo: 0s"))
	s = start(t, data, options{config: config})
	holdfast(t, 0, "roll", "size", "--max-size", "4MB", "--apply", "--config", config)
	gone := []string{"session_id 1 to ", ": gone since", "removed by /database sizeRoll maxSize=4MB (roll "}
	each("session 2 gone, and by which rule", "2", gone...)
	eventually(t, time.Minute, "the manifest to leave with its segment", func() (bool, string) {
		_, err := os.Stat(first)
		return os.IsNotExist(err), "it is there"
	})
	s.stop()
	each("the same without a server", "2", gone...)

	var f struct {
		Where string
		Gone  struct {
			At   time.Time
			Rule string
			To   string
		}
	}
	day := time.Now().UTC().Add(-time.Hour).Format(time.DateTime) + ".." + time.Now().UTC().Add(time.Hour).Format(time.DateTime)
	lines := searched(t, "--config", config, "--stream", "meta", "--seq", "3", "--time", day, "--json")
	if err := json.Unmarshal([]byte(lines[0]), &f); err != nil || len(lines) != 1 || f.Where != "gone" || f.Gone.To != "removed" || time.Since(f.Gone.At) > time.Hour {
		t.Errorf("as JSON: %q: %+v, %v", lines, f, err)
	}
	if got := searched(t, "--config", config, "--time", "1999-12-31"); len(got) != 1 || !strings.HasPrefix(got[0], "no segment") {
		t.Errorf("of 1999 it says %q", got)
	}
}
