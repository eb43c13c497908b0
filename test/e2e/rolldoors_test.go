package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRollDoors runs the scripts of internal/roll/testdata/doors, whose outcome
// the planner's own test has settled, on the built binary: each through the verb,
// and again through the admin socket; what is scheduled acts by itself. The
// language is told there. What is left is what lies on the disk.
func TestRollDoors(t *testing.T) {
	files, err := filepath.Glob("../../internal/roll/testdata/doors/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("found the scripts %q, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		for _, d := range []struct {
			name string
			send door
		}{{"verb", byVerb}, {"socket", bySocket}} {
			if name == "schedule" && d.name == "socket" {
				continue // it sends nothing
			}
			t.Run(name+"/"+d.name, func(t *testing.T) {
				r := &rollScript{t: t, send: d.send, dir: t.TempDir(), marks: map[string]string{}, sealed: map[string]int{}}
				r.whole(file)
			})
		}
	}
}

// rollScript is a script that runs on a server.
type rollScript struct {
	t      *testing.T
	send   door
	dir    string
	line   string
	setup  []*scriptStream
	vols   []string
	s      *server
	sealed map[string]int   // how many segments of each stream are
	files  map[string][]int // the numbers of each stream's segments with rows
	marks  map[string]string
	jobs   string // what is scheduled
}

// scriptStream is a stream as the script declares it.
type scriptStream struct{ name, link, parent, warm, index string }

func (r *rollScript) whole(file string) {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := 0; i < len(lines); i++ {
		r.line = lines[i]
		var want []string
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], ">") {
			i++
			want = append(want, strings.TrimSpace(strings.TrimPrefix(lines[i], ">")))
		}
		if r.line != "" && !strings.HasPrefix(r.line, "#") {
			r.run(want)
		}
	}
	if r.s != nil {
		r.s.stop()
	}
}

func (r *rollScript) run(want []string) {
	r.t.Helper()
	words := strings.Fields(r.line)
	switch words[0] {
	case "volume":
		r.vols = append(r.vols, words[1])
	case "stream", "index":
		r.declare(words)
	case "file":
		r.file(words[1:])
	case "seal":
		r.seal()
	case "mark":
		time.Sleep(2 * time.Millisecond) // times are told to the microsecond
		r.marks[words[1]] = time.Now().UTC().Format(time.RFC3339Nano)
		time.Sleep(2 * time.Millisecond)
	case "undo":
		holdfast(r.t, 0, "roll", "undo", "--config", r.config())
		r.left(want)
	case "send":
		r.learn()
		met, refused := r.send(r, words[1], words[2], r.filled(strings.Join(words[3:], " ")))
		r.came(met, refused, want)
	case "schedule":
		r.schedule(want)
	default:
		r.t.Fatalf("%q is not a line of a script", r.line)
	}
}

// came compares how a message was answered, and then what is left.
func (r *rollScript) came(met bool, refused string, want []string) {
	r.t.Helper()
	wanted, must := strings.CutPrefix(want[0], "refused: ")
	switch {
	case must && !strings.Contains(refused, wanted), !must && refused != "":
		r.t.Fatalf("%s\nis refused with %q, want %q", r.line, refused, want[0])
	case !must && met != (want[0] == "met"):
		r.t.Fatalf("%s\nis met: %t, want %q", r.line, met, want[0])
	case !must:
		r.left(want[1:])
	}
}

func (r *rollScript) declare(words []string) {
	if words[0] == "index" {
		for _, s := range r.setup {
			if s.name == words[1] {
				s.index = filepath.Join(r.dir, s.name+"-index")
			}
		}
		return
	}
	s := &scriptStream{name: words[1]}
	for _, word := range words[2:] {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "link":
			s.link = value
		case "parent":
			s.parent = value
		case "warm":
			s.warm = filepath.Join(r.dir, s.name+"-warm")
		}
	}
	r.setup = append(r.setup, s)
}

func (r *rollScript) config() string { return filepath.Join(r.dir, "holdfast.yaml") }

// start starts the server.
func (r *rollScript) start() {
	r.t.Helper()
	r.configure()
	r.s = start(r.t, filepath.Join(r.dir, "data"), options{config: r.config()})
}

// configure writes the configuration.
func (r *rollScript) configure() {
	r.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "data: %s\ntables: {auto: true}\nroll: {undo: 1h}\n%sstreams:\n", filepath.Join(r.dir, "data"), r.jobs)
	for _, s := range r.setup {
		fmt.Fprintf(&text, "  %s:\n    {tables: [%s], min_free: 0, hot: \"%s=32 MB\"", s.name, s.name, filepath.Join(r.dir, s.name))
		if s.link != "" {
			fmt.Fprintf(&text, ", link: %s", s.link)
		}
		if s.parent != "" {
			fmt.Fprintf(&text, ", parent: %s", s.parent)
		}
		if s.warm != "" {
			fmt.Fprintf(&text, ", warm: \"%s=256 MB\"", s.warm)
		}
		if s.index != "" {
			fmt.Fprintf(&text, ", index: {columns: [session_id], dir: \"%s=32 MB\"}", s.index)
		}
		fmt.Fprintln(&text, "}")
	}
	if err := os.WriteFile(r.config(), []byte(text.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// letters are those of rows that can hardly be packed.
const letters = " !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// file stores rows of about a segment's size, and seals it unless it is the
// active one.
func (r *rollScript) file(words []string) {
	r.t.Helper()
	if r.s == nil {
		r.start()
	}
	stream, isIndex := strings.CutSuffix(words[0], "/index")
	if isIndex { // slices are made by themselves
		return
	}
	var from, to int
	if _, err := fmt.Sscanf(words[2], "%d-%d", &from, &to); err != nil {
		r.t.Fatalf("%s: %v", r.line, err)
	}
	active := len(words) > 3 && words[3] == "active"
	each := 100
	if !active {
		each = int(r.bytes(words[1])-16<<10) / (to - from + 1)
	}
	var body bytes.Buffer
	pad := make([]byte, each)
	for id := from; id <= to; id++ {
		for i := range pad {
			pad[i] = letters[rand.IntN(len(letters))]
		}
		fmt.Fprintf(&body, "{\"session_id\": %d, \"what\": \"%s\"}\n", id, pad)
	}
	a, err := http.Post(r.s.url("/v1/tables/"+stream+"/rows"), "application/x-ndjson", &body)
	if err != nil {
		r.t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode/100 != 2 {
		r.t.Fatalf("%s: %s", r.line, a.Status)
	}
	if !active {
		r.seal()
		r.sealed[stream]++
	}
}

// learn finds out which segments the script has made: a start and a seal may
// leave others, without rows.
func (r *rollScript) learn() {
	r.t.Helper()
	if r.files != nil {
		return
	}
	r.sliced()
	r.files = map[string][]int{}
	for line := range strings.Lines(holdfast(r.t, 0, "manifest", "search", "--config", r.config(), "--json").stdout) {
		var one struct {
			Stream string
			Number int
			ID1    uint64
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			r.t.Fatal(err)
		}
		if one.ID1 > 0 {
			r.files[one.Stream] = append(r.files[one.Stream], one.Number)
		}
	}
	for _, s := range r.setup {
		slices.Sort(r.files[s.name])
	}
}

func (r *rollScript) seal() {
	r.t.Helper()
	r.s.mu.Lock()
	before := len(r.s.log)
	r.s.mu.Unlock()
	r.s.signal(syscall.SIGUSR2)
	eventually(r.t, time.Minute, "segments to be sealed", func() (bool, string) {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		return slices.ContainsFunc(r.s.log[before:], func(l string) bool { return strings.Contains(l, "segments are sealed") }), "no line says so"
	})
}

// bytes reads a size of a script.
func (r *rollScript) bytes(text string) int64 {
	r.t.Helper()
	var n float64
	if _, err := fmt.Sscanf(text, "%fMB", &n); err != nil {
		r.t.Fatalf("%s: size %q: %v", r.line, text, err)
	}
	return int64(n * (1 << 20))
}

// tiers returns where each segment of a stream is.
func (r *rollScript) tiers(stream string) map[int]string {
	all := map[int]string{}
	for _, at := range [][3]string{{stream, "*.seg", "hot"}, {stream + "-warm", "*.seg.zst", "warm"}} {
		found, _ := filepath.Glob(filepath.Join(r.dir, at[0], at[1])) // the pattern is right
		for _, path := range found {
			var n int
			if _, err := fmt.Sscanf(filepath.Base(path), "%d", &n); err == nil {
				all[n] = at[2]
			}
		}
	}
	return all
}

// left compares what is left with what the planner leaves.
func (r *rollScript) left(want []string) {
	r.t.Helper()
	eventually(r.t, time.Minute, "as much to be left as the planner leaves: "+strings.Join(want, "; "), func() (bool, string) {
		var got []string
		for _, s := range r.setup {
			got = append(got, shownFiles(s.name, r.files[s.name], r.tiers(s.name)))
		}
		for _, s := range r.setup {
			if s.index != "" {
				got = append(got, shownFiles("index of "+s.name, r.files[s.name], r.slices(s.name)))
			}
		}
		return slices.Equal(got, want), strings.Join(got, "; ")
	})
}

// shownFiles tells which of some files there are, by their place in the script.
func shownFiles(name string, files []int, at map[int]string) string {
	var all []string
	for i, n := range files {
		if at[n] != "" {
			all = append(all, fmt.Sprintf("%d %s", i+1, at[n]))
		}
	}
	return strings.TrimRight(name+": "+strings.Join(all, ", "), " ")
}

// slices returns which segments of a stream have a slice of the index.
func (r *rollScript) slices(stream string) map[int]string {
	all := map[int]string{}
	found, _ := filepath.Glob(filepath.Join(r.dir, stream+"-index", "*.idx"))
	for _, path := range found {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(path), "%d", &n); err == nil {
			all[n] = "hot"
		}
	}
	return all
}

// sliced waits until each sealed segment has its slice.
func (r *rollScript) sliced() {
	r.t.Helper()
	for _, s := range r.setup {
		if s.index == "" {
			continue
		}
		eventually(r.t, time.Minute, "a slice for each sealed segment of "+s.name, func() (bool, string) {
			n := len(r.slices(s.name))
			return n == r.sealed[s.name], fmt.Sprint(n, " of ", r.sealed[s.name])
		})
	}
}

// schedule has a line of the scheduler act by itself, or be refused.
func (r *rollScript) schedule(want []string) {
	r.t.Helper()
	line := strings.TrimPrefix(r.line, "schedule ")
	r.jobs = fmt.Sprintf("schedule: ['%s']\n", line)
	if wanted, must := strings.CutPrefix(want[0], "refused: "); must {
		if r.s != nil {
			r.s.stop()
			r.s = nil
		}
		r.configure()
		out := command(r.t, r.dir, nil, program, "serve", "--config", r.config())
		if out.code == 0 || !strings.Contains(out.stderr, wanted) {
			r.t.Fatalf("%s\nis refused with %q, want %q", r.line, out.stderr, wanted)
		}
		return
	}
	r.learn()
	r.s.stop()
	r.start()
	r.left(want[1:])
	if want[0] == "not met" {
		r.s.logged(time.Minute, "a scheduled roll does not reach what it asks")
	}
}

// filled puts what braces stand for into a message.
func (r *rollScript) filled(text string) string {
	r.t.Helper()
	for {
		before, after, found := strings.Cut(text, "{")
		if !found {
			return text
		}
		name, after, _ := strings.Cut(after, "}")
		words := strings.Fields(name)
		value := r.marks[name]
		switch words[0] {
		case "percent":
			var st unix.Statfs_t
			if err := unix.Statfs(r.dir, &st); err != nil {
				r.t.Fatal(err)
			}
			value = fmt.Sprintf("%.9f", 100*float64(r.bytes(words[1]))/(float64(st.Blocks)*float64(st.Bsize)))
		case "newest":
			value = fmt.Sprint(r.newestBytes(words[1], words[2]), "B")
		}
		if value == "" {
			r.t.Fatalf("%s: {%s} is not known", r.line, name)
		}
		text = before + value + after
	}
}

// newestBytes returns the size of the newest files of a store, and a byte.
func (r *rollScript) newestBytes(count, store string) (sum int64) {
	r.t.Helper()
	var n int
	fmt.Sscan(count, &n)
	dir, pattern := store, "*.seg"
	if stream, ok := strings.CutSuffix(store, "/index"); ok {
		dir, pattern = stream+"-index", "*.idx"
	}
	found, _ := filepath.Glob(filepath.Join(r.dir, dir, pattern))
	slices.Sort(found)
	for _, path := range found[max(0, len(found)-n):] {
		info, err := os.Stat(path)
		if err != nil {
			r.t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum + 1
}
