package holdfast_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the module's path, as go.mod has it.
const module = "holdfast"

// source is one Go file of this module.
type source struct {
	path  string // from the root, with slashes
	dir   string // its directory, "." for the root
	test  bool
	lines int
	ast   *ast.File
}

// project is every Go file below the root, parsed once.
type project struct {
	fset  *token.FileSet
	files []source
}

// load parses every Go file below the root. Rules about source are held
// against what the parser sees, so that they hold whatever builds.
func load(t *testing.T) project {
	t.Helper()
	p := project{fset: token.NewFileSet()}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "holdfast-data") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); name != "." && err == nil {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(p.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		p.files = append(p.files, source{
			path: slash, dir: path.Dir(slash), test: strings.HasSuffix(slash, "_test.go"),
			lines: strings.Count(string(text), "\n"), ast: f,
		})
		return nil
	})
	if err != nil {
		t.Fatalf("read the sources: %v", err)
	}
	if len(p.files) == 0 {
		t.Fatal("found no Go file: the test does not run in the root of the repository")
	}
	return p
}

// imports returns what f imports.
func (s source) imports() []string {
	var all []string
	for _, spec := range s.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// inside reports whether dir is one of roots or below one.
func inside(dir string, roots ...string) bool {
	for _, r := range roots {
		if dir == r || strings.HasPrefix(dir, r+"/") {
			return true
		}
	}
	return false
}

// seeded are the packages that bugs are seeded in, by internal/mutant: those
// that rows must survive in.
var seeded = []string{"row", "internal/disk", "internal/segment", "internal/journal", "internal/roller", "internal/deliver", "sink/postgres", "archive"}

// An arrow says which packages of this module a package may import, besides
// internal/fault, which is the vocabulary of refusals and imports nothing, and
// internal/mutant, which imports nothing either.
type arrow struct {
	dir string
	may []string
	why string
}

// arrows point towards the bytes. A package that is missing here fails the
// test: whoever adds one says what it rests on.
var arrows = []arrow{
	{"row", nil, "a row's bytes must be readable without the rest of the product"},
	{"sink", []string{"row"}, "a sink knows rows and its own database, never the journal that they come from"},
	{"sink/sinktest", []string{"row", "sink"}, "the suite asks only what the contract promises"},
	{"sink/prepared", nil, "a statement is the driver's; what it does with rows is the sink's"},
	{"sink/closed", []string{"row", "sink", "archive"}, "which rows come late depends on what is closed, and on no database"},
	{"sink/local", []string{"row", "sink"}, "it keeps a sink's place on this machine, and knows nothing of where the rows go"},
	{"sink/flat", []string{"row", "sink", "sink/local"}, "a sink knows rows and its own files, never the journal that they come from"},
	{"sink/mcache", []string{"row", "sink", "sink/local", "internal/mcache"}, "a sink knows rows and its own files; those of a message cache are described once"},
	{"sink/postgres", []string{"row", "sink", "sink/closed"}, "a sink knows rows and its own database, never the journal that they come from"},
	{"sink/mysql", []string{"row", "sink", "sink/closed", "sink/prepared"}, "a sink knows rows and its own database, never the journal that they come from"},
	{"sink/http", []string{"row", "sink", "sink/local"}, "a sink knows rows and its own receiver, never the journal that they come from"},
	{"sink/sqlite", []string{"row", "sink", "sink/closed", "sink/prepared"}, "a sink knows rows and its own database, never the journal that they come from"},
	{"archive", nil, "what an archive is must be readable, and tried, without a database"},
	{"archive/dialect", []string{"archive"}, "an engine knows tables and statements, and works beside the rest of the product or without it"},
	{"archive/backup", nil, "whether there is a backup depends on no database"},
	{"archive/closing", []string{"archive", "archive/dialect"}, "a billing administrator closes periods without daemon, journal or sink"},
	{"internal/fault", nil, "everything speaks of refusals, so refusals rest on nothing"},
	{"internal/mutant", nil, "a bug is seeded by a number; what it breaks is the business of where it is"},
	{"internal/disk", nil, "the disk knows bytes, not what they mean"},
	{"internal/segment", []string{"row", "internal/disk"}, "one file knows nothing of rotation"},
	{"internal/manifests", []string{"internal/disk"}, "what a manifest says must be readable without the segment, and years later"},
	{"internal/journal", []string{"row", "internal/disk", "internal/segment", "internal/manifests", "internal/cold"}, "the journal knows neither who writes nor who reads"},
	{"internal/where", []string{"row"}, "whether a row is wanted depends on the row alone"},
	{"internal/index", []string{"row", "internal/disk", "internal/where"}, "an index declares the stream that it is of, and knows conditions as data"},
	{"internal/rejects", []string{"row", "internal/journal"}, "rejects are a stream like any other; delivery declares what it needs of them"},
	{"internal/roster", []string{"row", "internal/disk"}, "what was said of sinks depends on none of them"},
	{"internal/profile", []string{"sink"}, "ready tables are data; whoever declares them wires"},
	{"internal/typing", nil, "whether a text can be a value of a type depends on nothing but both"},
	{"internal/catalog", []string{"row", "internal/disk", "internal/typing"}, "what tables look like depends on no door and no sink"},
	{"internal/reconcile", []string{"row", "sink", "internal/deliver"}, "it holds a sink against a stream, and the verb that asks for it brings both"},
	{"internal/deliver", []string{"row", "sink"}, "delivery declares the stream that it reads from; the daemon hands it over"},
	{"internal/peer", nil, "whose a connection is does not matter to what is said on it"},
	{"internal/auth", []string{"internal/peer"}, "who may do what depends on no door"},
	{"internal/certs", nil, "a certificate is files, whatever door shows it"},
	{"internal/gate", []string{"internal/peer"}, "who waits at a door depends on no door"},
	{"internal/pgwire", []string{"row", "internal/typing", "internal/auth", "internal/certs", "internal/gate", "internal/peer"}, "a source declares the interface that it appends to"},
	{"internal/mywire", []string{"row", "internal/auth", "internal/certs", "internal/gate", "internal/peer"}, "a source declares the interface that it appends to"},
	{"internal/httpapi", []string{"row", "internal/auth", "internal/certs", "internal/gate", "internal/peer"}, "a source declares the interface that it appends to"},
	{"internal/sources", []string{"internal/disk"}, "how far a source was read depends on no source and no row"},
	{"internal/dedupe", []string{"row"}, "whether a row came before depends on its values alone; the database says what became of it"},
	{"internal/mcache", []string{"sink/local"}, "a cache is files; who fills it and who drains it bring the rows"},
	{"internal/place", []string{"internal/disk"}, "whose a directory is depends on nothing that is in it"},
	{"internal/volume", nil, "what a directory lies on depends on nothing that is in it"},
	{"internal/syslog", []string{"row", "sink", "internal/gate", "internal/peer"}, "a door knows rows; who opens it declares where they go"},
	{"internal/notice", nil, "that something has changed does not matter to what"},
	{"internal/holders", []string{"internal/volume"}, "who holds a file does not matter to what is in it"},
	{"internal/inode", nil, "which file it is depends on nothing that is in it"},
	{"internal/spool", []string{"row", "internal/disk", "internal/inode", "internal/notice", "internal/volume"}, "files in a spool are others' files; who opens it declares where the rows go, and how they are read"},
	{"internal/flatlog", []string{"row", "internal/disk", "internal/holders", "internal/inode", "internal/notice"}, "followed files are others' files; who follows them declares where the rows go"},
	{"internal/cold", []string{"internal/disk"}, "what is kept for others to fetch does not matter to what keeps it"},
	{"internal/cold/bucket", []string{"internal/cold"}, "a server that keeps files does not matter to what is in them"},
	{"internal/cold/coldtest", []string{"internal/cold"}, "what every cold tier promises is tried from outside"},
	{"internal/roll", nil, "what leaves is decided from manifests alone, so that it can be decided again without a disk"},
	{"internal/doctor", []string{"internal/volume", "internal/disk", "internal/config", "internal/certs", "internal/httpapi"}, "a doctor looks at everything, and nothing rests on what it says"},
	{"internal/roller", []string{"internal/disk", "internal/cold", "internal/segment", "internal/journal", "internal/roll", "internal/index"}, "whoever carries plans out knows streams, and neither who writes nor who reads"},
	{"internal/config", []string{"sink", "archive", "archive/backup", "internal/roll", "internal/profile", "internal/auth", "internal/certs", "internal/gate"}, "what is configured must be checkable without what it configures; a profile, a verifier and a certificate are data"},
	{".", []string{"row", "sink", "internal/cold", "internal/deliver", "internal/disk", "internal/segment", "internal/journal", "internal/catalog", "internal/roster", "internal/rejects", "internal/sources", "internal/dedupe", "internal/roll", "internal/roller", "internal/place", "internal/manifests", "internal/index", "internal/where"}, "the library is the database without doors, and delivers to the sinks that it is given"},
	{"internal/daemon", []string{".", "row", "sink", "archive", "archive/backup", "archive/closing", "archive/dialect", "internal"}, "the daemon wires; nothing but the verbs stands above it"},
	{"internal/bench", []string{".", "row", "sink", "sink/sqlite", "sink/postgres", "sink/mysql", "internal/disk", "internal/journal", "internal/deliver", "internal/pgwire", "internal/httpapi", "internal/throwaway", "internal/volume"}, "the bench measures each layer by itself, and speaks as a client"},
	{"internal/cli", []string{".", "row", "archive", "archive/dialect", "archive/backup", "archive/closing", "internal/auth", "internal/bench", "internal/daemon", "internal/config", "internal/doctor", "internal/profile", "internal/httpapi", "internal/journal", "internal/cold", "internal/manifests", "internal/roll", "internal/disk", "internal/holders", "internal/mcache", "internal/spool", "internal/reconcile", "sink"}, "verbs go through the server, the library or the daemon"},
	{"cmd/holdfast", []string{"internal/cli"}, "main only hands over to the verbs"},
	{"test/tally", nil, "what is counted does not matter to the counter"},
	{"test/tally/check", []string{"test/tally"}, "it prints what was counted"},
	{"internal/throwaway", nil, "a server that nobody keeps knows nothing of what is tried on it"},
	{"test/servers", []string{"internal/throwaway"}, "a database server that tests start knows nothing of what they test"},
	{"test/mounts", nil, "what is mounted does not matter to the mounts"},
	{"test/power", []string{".", "row", "internal/disk", "internal/journal", "test/mounts", "test/tally"}, "it pulls the plug under a journal on a real file system"},
	{"test/pki", nil, "certificates for tests rest on nothing"},
	{"test/many", nil, "what it makes many of is the business of its tests"},
	{"test/buckets", nil, "a server of files that tests start knows nothing of what they test"},
	{"test/clients", []string{"test/servers", "test/pki"}, "clients see what users see: the binary, and the database behind it"},
	{"test/e2e", []string{"test/buckets", "test/mounts", "test/servers", "test/tally", "test/pki"}, "end-to-end tests see what users see: the binary and its files"},
}

// TestArrows holds the direction in which packages may import each other.
func TestArrows(t *testing.T) {
	byDir := map[string]arrow{}
	for _, a := range arrows {
		byDir[a.dir] = a
	}
	for _, f := range load(t).files {
		if f.test && f.dir != "test/e2e" {
			continue // tests may look further than what they test
		}
		a, known := byDir[f.dir]
		if !known {
			t.Errorf("%s: package %q has no arrows: add it to this test and say what it rests on, and why", f.path, f.dir)
			continue
		}
		for _, imp := range f.imports() {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			target := "."
			if imp != module {
				target = strings.TrimPrefix(imp, module+"/")
			}
			ok := target == "internal/fault" && a.dir != "row" && a.dir != "sink" || target == "internal/mutant" && inside(a.dir, seeded...)
			for _, m := range a.may {
				ok = ok || target == m || m == "internal" && inside(target, m) && target != "internal/cli" || m == "sink" && a.dir == "internal/daemon" && inside(target, m)
			}
			if !ok {
				t.Errorf("%s imports %q: %s", f.path, imp, a.why)
			}
		}
	}
}

// Bans on packages from outside: who alone may import what, and why.
var bans = []struct {
	what string // an import path, or the beginning of one when it ends in "/"
	only []string
	why  string
}{
	{"modernc.org/sqlite", []string{"sink/sqlite", "archive/dialect"}, "each outside database belongs to the one sink that speaks to it, and to archiving"},
	{"github.com/jackc/pgx/", []string{"sink/postgres", "internal/pgwire", "internal/bench", "internal/cli", "archive/dialect"}, "the protocol belongs to its door, to the sink and the archiving that speak it, and to the bench that measures it"},
	{"github.com/go-sql-driver/mysql", []string{"sink/mysql", "internal/bench", "archive/dialect"}, "each outside database belongs to the one sink that speaks to it, to archiving, and to the bench that measures it"},
	{"github.com/leodido/go-syslog/", []string{"internal/syslog"}, "the protocol belongs to its door"},
	{"github.com/prometheus/", []string{"internal/httpapi", "internal/daemon"}, "the engine counts; only the doors publish"},
	{"github.com/klauspost/", []string{"internal/httpapi", "internal/manifests", "internal/segment"}, "only the HTTP door takes packed bodies, and only what is kept for years, or moved to another tier, is packed"},
	{"github.com/minio/", []string{"internal/cold/bucket"}, "the protocol belongs to the one cold tier that speaks it"},
	{"github.com/xdg-go/", []string{"internal/auth"}, "one place knows how passwords are checked"},
	{"github.com/expr-lang/", []string{"internal/where"}, "one place knows the language of conditions"},
	{"github.com/spf13/", []string{"internal/cli"}, "only verbs have flags"},
	{"github.com/goccy/go-yaml", []string{"internal/config"}, "one place knows the configuration's syntax"},
	{"github.com/coreos/go-systemd/", []string{"internal/daemon"}, "only what starts and stops tells systemd"},
	{"golang.org/x/term", []string{"internal/cli"}, "only verbs write to terminals"},
	{"go.uber.org/goleak", nil, "it belongs in tests"},
	{"testing", []string{"sink/sinktest", "internal/cold/coldtest", "test/buckets", "test/tally", "test/mounts", "test/servers", "test/pki"}, "only the conformance suites, what counts tests, mounts for them, starts their servers and signs for them is test code that others import"},
	{"log", nil, "logs go through the *slog.Logger that was passed in"},
	{"unsafe", []string{"internal/disk"}, "only direct I/O needs to know addresses; nothing else is worth a memory error"},
	{"net/http/pprof", nil, "it opens a door by being imported"},
}

// TestBans holds which outside packages may be imported where.
func TestBans(t *testing.T) {
	for _, f := range load(t).files {
		if f.test {
			continue
		}
		for _, imp := range f.imports() {
			for _, b := range bans {
				hit := imp == b.what || strings.HasSuffix(b.what, "/") && strings.HasPrefix(imp, b.what)
				if hit && !inside(f.dir, b.only...) {
					t.Errorf("%s imports %q: %s", f.path, imp, b.why)
				}
			}
		}
	}
}

// TestOnlyDiskTouchesFiles holds that every file of the engine goes through
// internal/disk, where crashes and faults can be put in its way.
func TestOnlyDiskTouchesFiles(t *testing.T) {
	engine := []string{"row", "sink/sinktest", "internal/segment", "internal/journal", "internal/catalog", "internal/roster", "internal/deliver", "internal/roll", "internal/roller", "internal/index"}
	files := []string{"os", "io/ioutil", "path/filepath", "syscall", "golang.org/x/sys/unix"}
	for _, f := range load(t).files {
		if f.test || !inside(f.dir, engine...) {
			continue
		}
		for _, imp := range f.imports() {
			if slices.Contains(files, imp) {
				t.Errorf("%s imports %q: the engine reaches files through internal/disk only, or no test can make them fail", f.path, imp)
			}
		}
	}
}

// removers are the functions of the engine that may take a file away or give it
// another name, and why that removes no row. Journal.destroy alone removes rows.
var removers = map[string]string{
	"destroy":        "the one that removes rows, after asking what must stay",
	"copyTo":         "takes a copy away that did not come to its end",
	"replaceDouble":  "gives a copy that was compared its name",
	"dropDouble":     "takes a file away whose segment stands elsewhere, after asking once more that it does",
	"lose":           "moves a file that is no segment of the stream to lost+found",
	"recycle":        "destroy alone calls it",
	"bringBack":      "takes a file out of the trash",
	"makeFile":       "names a file of zeros for what it is",
	"activateOnce":   "gives a new segment its name",
	"place":          "gives the parts of a committed transaction their names",
	"dropUnfinished": "takes parts of a transaction away whose commit did not come to its end",
	"unlink":         "takes a segment without rows away",
	"discard":        "takes a file away that holds nothing of the stream",
	"removeSpare":    "takes a reserved file away that nobody needs",
	"loadSpares":     "takes reserved and staged files away that nobody needs",
	"loadGaps":       "takes a GAPS away that was not renamed",
	"copyAside":      "takes a copy away that did not come to its end, and names one that did",
	"setAside":       "moves a file that is of no use to the quarantine",
	"giveName":       "gives a misplaced segment's file its own name, where no file has that",
	"loadBeside":     "takes manifests away that were not written to their end",
	"clearBeside":    "takes manifests away whose segments are gone",
	"open":           "of checkpoints: CHECKPOINT holds no row",
}

// TestOneRemover holds that exactly one function removes rows.
func TestOneRemover(t *testing.T) {
	p := load(t)
	callers := map[string][]string{}
	for _, f := range p.files {
		if f.test || !inside(f.dir, "internal/journal", "internal/segment", "internal/roller", "internal/roll") && f.dir != "." {
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if name := sel.Sel.Name; name == "recycle" {
					callers[name] = append(callers[name], fn.Name.Name)
				}
				of := ""
				switch x := sel.X.(type) {
				case *ast.Ident:
					of = x.Name
				case *ast.SelectorExpr:
					of = x.Sel.Name
				}
				if (sel.Sel.Name == "Remove" || sel.Sel.Name == "Rename") && (of == "d" || of == "disk" || of == "fs" || of == "FS") && removers[fn.Name.Name] == "" {
					t.Errorf("%s: %s takes files away or renames them: rows go through Journal.destroy; if it removes none, say why in this test",
						p.fset.Position(call.Pos()), fn.Name.Name)
				}
				return true
			})
		}
	}
	if got := callers["recycle"]; len(got) != 1 || got[0] != "destroy" {
		t.Errorf("recycle is called by %v, want destroy alone", got)
	}
}

// TestRowIsPlain holds that package row starts no goroutine and keeps no lock:
// it is data.
func TestRowIsPlain(t *testing.T) {
	p := load(t)
	for _, f := range p.files {
		if f.test || f.dir != "row" {
			continue
		}
		if slices.Contains(f.imports(), "sync") {
			t.Errorf("%s imports \"sync\": a row is plain data", f.path)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: starts a goroutine: a row is plain data", p.fset.Position(g.Pos()))
			}
			return true
		})
	}
}

// TestPackageNames bans names that say nothing about what is inside.
func TestPackageNames(t *testing.T) {
	for _, f := range load(t).files {
		switch f.ast.Name.Name {
		case "util", "utils", "common", "helpers", "models", "misc":
			t.Errorf("%s: package %q names no thing", f.path, f.ast.Name.Name)
		}
	}
}
