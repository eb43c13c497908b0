package config

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sink is one destination. Which keys there are depends on its type: see only.
type Sink struct {
	Type         SinkType `yaml:"type" doc:"Kind of sink."`
	File         string   `yaml:"path" doc:"The database file of an sqlite sink."`
	URL          URL      `yaml:"url" doc:"Where the sink is: sqlite:FILE, postgres://..., mysql://..., flatstore:DIRECTORY, mcache:DIRECTORY, or http(s)://..."`
	URLFile      string   `yaml:"url_file" doc:"A file that holds the url, for one with a secret in it; nobody but its owner may read it."`
	PasswordFile string   `yaml:"password_file" doc:"A file that holds the password for the url; nobody but its owner may read it."`
	Schema       Name     `yaml:"schema" doc:"Schema of Holdfast's own tables, holdfast_cursor and so on; of MariaDB and MySQL, a database. Left out, where rows go too."`
	Create       Create   `yaml:"create" doc:"What becomes of tables and columns that the sink lacks: they are created, or never."`
	Writer       int      `yaml:"writer" omit:"zero" doc:"Number in the names of flat files, as in acc_1.log."`
	Pattern      Pattern  `yaml:"file" doc:"Names of flat files instead of <table>_<writer>.log: strftime's letters, and {table} and {n}, the writer's number."`
	RotateSize   Size     `yaml:"rotate_size" omit:"zero" doc:"Size at which a flat file is closed and a new one begun."`
	RotateEvery  Days     `yaml:"rotate_every" omit:"zero" doc:"Age at which a flat file is closed and a new one begun."`
	Mode         Mode     `yaml:"mode" omit:"zero" doc:"Permissions of flat files, in octal."`
	Marks        Marks    `yaml:"marks" doc:"How values are marked in flat files: so that all can be told apart, or as Kamailio does."`
	Zone         Zone     `yaml:"zone" doc:"Zone of the times in names of flat files."`
	Times        Times    `yaml:"times" doc:"Moments in flat files: with their zone, as the writer's clock showed them, or as seconds since 1970, as Kamailio has them."`
	TokenFile    string   `yaml:"token_file" doc:"A file that holds the bearer token for an http sink; nobody but its owner may read it."`
	HeadersFile  string   `yaml:"headers_file" doc:"A file of further HTTP headers, one per line; nobody but its owner may read it."`
	CAFile       string   `yaml:"ca_file" doc:"Certificates that sign an https sink's, in PEM, instead of those that the system trusts."`
	Compress     Compress `yaml:"compress" doc:"How the bodies sent to an http sink are compressed."`
	Timeout      Duration `yaml:"timeout" omit:"zero" doc:"How long the sink may take to answer one request or statement."`

	Columns   map[string]Names `yaml:"columns" omit:"zero" doc:"Order of the columns in flat files, by table; others come behind them."`
	Streams   []string         `yaml:"streams" doc:"Streams that are delivered there; all of them when left out."`
	Tables    []Glob           `yaml:"tables" doc:"Tables that are delivered there; all of them when left out."`
	Authority []Glob           `yaml:"authority" doc:"Tables whose definitions in this sink say which rows are taken at the door."`
	Rename    Rename           `yaml:"rename" omit:"zero" doc:"Names that tables and columns have in the sink instead of their own."`
	Add       map[string]Added `yaml:"add" omit:"zero" doc:"Columns added to every row: a constant, or $seq, $received_at, $stream, $host."`

	Start        Start    `yaml:"start" doc:"Where a new sink begins: with the oldest row kept, or with the next one."`
	OnRewind     OnRewind `yaml:"on_rewind" doc:"What happens when the sink was put back to an older copy, or emptied: stop until somebody looked, or replay what it lacks."`
	RejectUnit   Unit     `yaml:"reject_unit" doc:"What is set aside when a row is refused: the row, or its whole transaction."`
	RejectBudget int      `yaml:"reject_budget" doc:"Rejects of this sink that may be open before it stops."`
	RejectFlood  Flood    `yaml:"reject_flood" doc:"Share of rejects among the newest rows at which the sink stops and asks; or off."`
}

// Rename says what tables and columns are called in a sink.
type Rename struct {
	Tables  map[string]Name `yaml:"tables" omit:"zero" doc:"Names of tables in the sink, by their own."`
	Columns map[string]Name `yaml:"columns" omit:"zero" doc:"Names of columns in the sink, by table.column as they are called here."`
}

const (
	defaultRejectBudget       = 10_000
	defaultRejectFlood  Flood = 1
)

// only names the keys that some types of sinks have; all others have them all.
var only = map[string][]SinkType{
	"path":          {SQLite},
	"url_file":      {Postgres, MySQL, HTTP},
	"password_file": {Postgres, MySQL},
	"schema":        {Postgres, MySQL},
	"create":        {SQLite, Postgres, MySQL},
	"authority":     {SQLite, Postgres, MySQL},
	"writer":        {Flat},
	"file":          {Flat},
	"rotate_size":   {Flat},
	"rotate_every":  {Flat},
	"mode":          {Flat, Mcache},
	"marks":         {Flat},
	"zone":          {Flat},
	"times":         {Flat},
	"columns":       {Flat},
	"token_file":    {HTTP},
	"headers_file":  {HTTP},
	"compress":      {HTTP},
	"ca_file":       {HTTP},
	"timeout":       {HTTP, Postgres, MySQL},
}

// schemes are how the url of each type begins, and what one looks like.
var schemes = map[SinkType]struct {
	prefixes []string
	example  string
}{
	SQLite:   {[]string{"sqlite:"}, "sqlite:/var/lib/holdfast/rows.db"},
	Postgres: {[]string{"postgres://", "postgresql://"}, "postgres://holdfast@db.example.net/billing"},
	MySQL:    {[]string{"mysql://", "mariadb://"}, "mysql://holdfast@db.example.net/billing"},
	Flat:     {[]string{"flatstore:"}, "flatstore:/var/log/acc"},
	Mcache:   {[]string{"mcache:"}, "mcache:/var/lib/xdasd/cache"},
	HTTP:     {[]string{"http://", "https://"}, "https://rows.example.net/v1/rows"},
}

func (c *Config) settleSink(key string, s *Sink) {
	if file, ok := strings.CutPrefix(string(s.URL), "sqlite:"); ok && s.Type == SQLite && s.File == "" {
		// From here on the path is the only word for it.
		s.File, s.URL = file, ""
	}
	if s.OnRewind == "" {
		s.OnRewind = StopOnRewind
	}
	if s.Start == "" {
		s.Start = StartOldest
	}
	if s.RejectUnit == "" {
		s.RejectUnit = UnitRow
	}
	if !c.has(key + ".reject_budget") {
		s.RejectBudget = defaultRejectBudget
	}
	if !c.has(key + ".reject_flood") {
		s.RejectFlood = defaultRejectFlood
	}
	if s.Create == "" && slices.Contains(only["create"], s.Type) {
		s.Create = CreateAuto
	}
	if s.Type == Flat && !c.has(key+".writer") {
		s.Writer = 1
	}
	if s.Type == Flat && s.Mode == 0 {
		s.Mode = defaultMode
	}
	if s.Type == Flat && s.Marks == "" {
		s.Marks = MarksExact
	}
	if s.Type == Flat && s.Times == "" {
		s.Times = TimesZoned
		if s.Marks == MarksKamailio {
			s.Times = TimesEpoch
		}
	}
	if s.Type == Flat && s.Zone == "" {
		s.Zone = ZoneUTC
	}
	if s.Type == HTTP && !c.has(key+".timeout") {
		s.Timeout = defaultTimeout
	}
	if s.Type == HTTP && s.Compress == "" {
		s.Compress = CompressNone
	}
	if !c.has(key + ".streams") {
		s.Streams = slices.DeleteFunc(c.StreamNames(), func(name string) bool { return ownStream(name) })
	}
}

func (c *Config) judgeSinks(add report) {
	places := map[string]string{}
	for _, name := range c.SinkNames() {
		s, key := c.Sinks[name], "sinks."+name
		if s.Type == "" {
			add(key, `add "type: sqlite"`, "sink %q has no type", name)
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(only)) {
			if c.has(key+"."+k) && !slices.Contains(only[k], s.Type) {
				add(key+"."+k, "remove it", "%q is not for a sink of type %q", k, string(s.Type))
			}
		}
		if !c.judgePlace(add, key, name, s) {
			continue
		}
		if other, taken := places[s.place()]; taken && s.place() != "" {
			add(key, "give each sink a place of its own", "sink %q writes to where sink %q does, where each row would arrive twice", name, other)
		}
		places[s.place()] = name
		c.judgeSinkStreams(add, key, s)
		c.judgeSinkNames(add, key, s)
	}
	c.judgeAuthorities(add)
}

// place returns what no two sinks may share; "" where that cannot be told,
// as where sinks of one database have different tables.
func (s *Sink) place() string {
	switch s.Type {
	case SQLite:
		return absolute(s.File)
	case Flat:
		return fmt.Sprint(absolute(s.Directory()), " writer ", s.Writer, " file ", s.Pattern)
	case Mcache:
		return absolute(strings.TrimPrefix(string(s.URL), "mcache:"))
	case HTTP: // what is sent to one place has one cursor
		return fmt.Sprint(s.URL, s.URLFile)
	case Postgres, MySQL:
		if len(s.Tables) == 0 && len(s.Rename.Tables) == 0 {
			return fmt.Sprint(s.URL, s.URLFile, " schema ", s.Schema)
		}
	}
	return ""
}

// judgePlace sees that the sink says where it is, once.
func (c *Config) judgePlace(add report, key, name string, s *Sink) bool {
	form := schemes[s.Type]
	fits := slices.ContainsFunc(form.prefixes, func(p string) bool { return strings.HasPrefix(string(s.URL), p) })
	switch {
	case s.URL != "" && !fits:
		add(key+".url", fmt.Sprintf("write it like %q", form.example), "the url of sink %q is not one of %s %s sink", name, article(string(s.Type)), s.Type)
		return false
	case c.has(key+".url") && c.has(key+".path"):
		add(key+".url", "remove one of them", "sink %q has both a path and a url", name)
	case c.has(key+".url") && c.has(key+".url_file"):
		add(key+".url_file", "remove one of them", "sink %q has both a url and a url_file", name)
	}
	if s.Type == SQLite {
		if s.File == "" {
			add(key, `add "path: FILE"`, "sink %q does not say where its file is", name)
			return false
		}
		if err := checkPath(s.File); err != nil {
			add(key+".url", "", "%s", err)
		}
		return true
	}
	if s.URL == "" && s.URLFile == "" {
		add(key, fmt.Sprintf("add %q", "url: "+form.example), "sink %q does not say where it is", name)
		return false
	}
	if s.Type == Flat {
		if err := checkPath(s.Directory()); err != nil {
			add(key+".url", fmt.Sprintf("write it like %q", form.example), "%s", err)
		}
		if s.Writer < 0 || s.Writer > maxWriter {
			add(key+".writer", fmt.Sprintf("from 0 to %d", maxWriter), "writer %q is out of range", fmt.Sprint(s.Writer))
		}
	}
	if u, err := url.Parse(string(s.URL)); err == nil && s.PasswordFile != "" && s.URL != "" {
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			add(key+".password_file", "keep it in the file alone", "sink %q has a password in its url and another in a file", name)
		}
	}
	return true
}

// maxWriter is the largest writer number: six digits fit every file name.
const maxWriter = 999_999

func article(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) || word == "sqlite" {
		return "an"
	}
	return "a"
}

func (c *Config) judgeSinkStreams(add report, key string, s *Sink) {
	if len(s.Streams) == 0 {
		add(key+".streams", "leave the key out to deliver all of them", "the list of streams is empty, so nothing would ever be delivered")
	}
	if c.has(key+".tables") && len(s.Tables) == 0 {
		add(key+".tables", "leave the key out to deliver all of them", "the list of tables is empty, so nothing would ever be delivered")
	}
	for i, stream := range s.Streams {
		at := fmt.Sprintf("%s.streams.%d", key, i)
		switch {
		case ownStream(stream):
			add(at, "holdfast rejects export gets them out", "%q is kept by Holdfast itself, and delivered to no sink", stream)
		case c.Streams[stream] == nil:
			add(at, didYouMean(stream, c.StreamNames()), "stream %q is not configured", stream)
		}
		if slices.Index(s.Streams, stream) < i {
			add(at, "", "stream %q is named twice", stream)
		}
	}
}

// judgeSinkNames sees that nothing gets two names, or one name twice.
func (c *Config) judgeSinkNames(add report, key string, s *Sink) {
	if s.RejectBudget < 1 {
		add(key+".reject_budget", "at least 1", "reject_budget %q is out of range", fmt.Sprint(s.RejectBudget))
	}
	taken := map[Name]string{}
	for _, from := range slices.Sorted(maps.Keys(s.Rename.Tables)) {
		to := s.Rename.Tables[from]
		if other, twice := taken[to]; twice {
			add(key+".rename.tables."+from, "give each a name of its own", "tables %q and %q would both be called %q", other, from, string(to))
		}
		taken[to] = from
	}
	renamed := map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(s.Rename.Columns)) {
		at, to := key+".rename.columns."+from, string(s.Rename.Columns[from])
		dot := strings.LastIndexByte(from, '.')
		if dot <= 0 || dot == len(from)-1 {
			add(at, `write it like "acc.src_ip"`, "%q is not a table and a column", from)
			continue
		}
		table := from[:dot]
		if other, twice := renamed[table+"."+to]; twice {
			add(at, "give each a name of its own", "columns %q and %q would both be called %q", other, from, to)
		}
		renamed[table+"."+to] = from
	}
	for column := range s.Add {
		if err := new(Name).scan(column); err != nil {
			add(key+".add."+column, "", "%s", err)
		}
	}
}

// judgeAuthorities sees that each table has one sink that is asked about it.
func (c *Config) judgeAuthorities(add report) {
	owner := map[Glob]string{}
	for _, name := range c.SinkNames() {
		for i, g := range c.Sinks[name].Authority {
			if other, taken := owner[g]; taken {
				add(fmt.Sprintf("sinks.%s.authority.%d", name, i), "one sink's definitions hold for a table", "sink %q is already the authority for %q", other, string(g))
			}
			owner[g] = name
		}
	}
}

// Directory returns where the files of a flat sink are.
func (s *Sink) Directory() string {
	return strings.TrimPrefix(strings.TrimPrefix(string(s.URL), "flatstore:"), "mcache:")
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 64 << 10

// Secret reads a file that holds a secret, less the line end behind it. It
// refuses one that others than its owner may read.
func Secret(file string) (string, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", wrong("name a file", "%q is not a file", file)
	case info.Mode().Perm()&^owners(file) != 0:
		return "", wrong("chmod 600 it", "%q may be read by others than its owner (mode %04o)", file, info.Mode().Perm())
	case info.Size() > maxSecret:
		return "", wrong("", "%q is larger than %d bytes, so it holds no secret", file, maxSecret)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(text), "\r\n")
	if s == "" || !utf8.ValidString(s) {
		return "", wrong("write the secret into it", "%q is empty, or not text", file)
	}
	return s, nil
}

// owners returns the permissions that a file with a secret may have. systemd gives
// its credentials to the service by an access list, which shows as the group's.
func owners(file string) os.FileMode {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(absolute(file)) == filepath.Clean(dir) {
		return 0o740
	}
	return 0o700
}

// Target returns the sink's url with the secrets in it, read from their files
// at each call. It is never to be printed.
func (s *Sink) Target() (string, error) {
	text := string(s.URL)
	if s.URLFile != "" {
		secret, err := Secret(s.URLFile)
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(secret)
		form := schemes[s.Type]
		if !slices.ContainsFunc(form.prefixes, func(p string) bool { return strings.HasPrefix(text, p) }) {
			return "", wrong(fmt.Sprintf("write it like %q", form.example), "what is in %q is not a url of %s %s sink", s.URLFile, article(string(s.Type)), s.Type)
		}
	}
	if s.PasswordFile == "" {
		return text, nil
	}
	password, err := Secret(s.PasswordFile)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", wrong("", "the url cannot be read") // without the text, which may hold a secret
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}

// secrets returns the sink's files with secrets, by key.
func (s *Sink) secrets() map[string]string {
	return map[string]string{"url_file": s.URLFile, "password_file": s.PasswordFile, "token_file": s.TokenFile, "headers_file": s.HeadersFile}
}

// Name is a table's or a column's name in a sink.
type Name string

func (n *Name) scan(text string) error {
	if text == "" || len(text) > 255 || strings.ContainsFunc(text, unicode.IsControl) {
		return wrong("", "%q cannot be a name in a database", text)
	}
	*n = Name(text)
	return nil
}

func (*Name) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer", "boolean"}, "minLength": 1}
}

// Names is a list of names.
type Names []Name

// Added is the value of a column that is added to every row: a text, or $ and
// the name of something about the row. $$ stands for $.
type Added string

// additions are what $ can stand before.
var additions = []string{"$seq", "$received_at", "$stream", "$host"}

func (a *Added) scan(text string) error {
	if strings.HasPrefix(text, "$") && !strings.HasPrefix(text, "$$") && !slices.Contains(additions, text) {
		return wrong("one of "+strings.Join(additions, ", ")+"; $$ stands for a $", "nothing is known as %q", text)
	}
	if strings.ContainsRune(text, 0) {
		return wrong("", "value %q holds a NUL byte, which no database takes", text)
	}
	*a = Added(text)
	return nil
}

func (*Added) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer", "number", "boolean"}}
}
