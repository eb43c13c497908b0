package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/volume"
)

// unit looks at the service of systemd, where there is one, against the
// configuration: what it may write, how long it may take, how much it may open.
func (x *exam) unit() {
	unit := x.host.unitFile()
	if unit == "" || x.in.Config == nil {
		return
	}
	x.checked("unit")
	d := directives(unit)
	last := func(name string) string {
		if v := d[name]; len(v) > 0 {
			return v[len(v)-1]
		}
		return ""
	}
	found := func(s Severity, saw, means, line string) {
		x.add(Finding{s, "unit", "holdfast.service", saw, means, "add to its section [Service]: " + line, []string{"systemctl edit holdfast", "systemctl restart holdfast"}})
	}
	if v := last("TimeoutStopSec"); v != "" {
		if stop, err := seconds(v); err == nil && stop <= time.Duration(x.in.Config.Drain) {
			found(Warning, "TimeoutStopSec="+v, fmt.Sprintf("a stop drains for up to %s, and is killed before", time.Duration(x.in.Config.Drain)),
				fmt.Sprintf("TimeoutStopSec=%.0f", (time.Duration(x.in.Config.Drain)+30*time.Second).Seconds()))
		}
	}
	if n, err := strconv.Atoi(last("LimitNOFILE")); err == nil && n < x.in.AllFiles {
		found(Warning, fmt.Sprintf("LimitNOFILE=%d", n), fmt.Sprintf("max_connections needs %d: some clients are refused", x.in.AllFiles), "LimitNOFILE=65536")
	}
	for _, p := range x.places {
		if why := hidden(d, p); why != "" && p.use != useNamed && p.use != useSource {
			found(Critical, why, "it cannot write to "+p.Dir+" ("+p.Use+")", "ReadWritePaths="+p.Dir)
		}
	}
}

// hidden returns the directive that keeps the service from writing to a place;
// "" for none.
func hidden(d map[string][]string, p *place) string {
	has := func(name string, values ...string) bool {
		v := d[name]
		return len(v) > 0 && slices.Contains(values, strings.ToLower(v[len(v)-1]))
	}
	under := func(dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return volume.Within(dir, p.Dir) || volume.Within(dir, p.real) })
	}
	var allowed []string
	for _, v := range d["ReadWritePaths"] {
		for dir := range strings.FieldsSeq(v) {
			allowed = append(allowed, strings.TrimRight(strings.TrimLeft(dir, "-+"), "/"))
		}
	}
	for name, root := range map[string]string{"StateDirectory": "/var/lib/", "LogsDirectory": "/var/log/", "CacheDirectory": "/var/cache/", "RuntimeDirectory": "/run/"} {
		for _, v := range d[name] {
			for dir := range strings.FieldsSeq(v) {
				allowed = append(allowed, root+dir, strings.TrimSuffix(root, "/")+"/private/"+dir)
			}
		}
	}
	if has("PrivateTmp", "yes", "true", "1", "on") && under("/tmp", "/var/tmp") {
		return "PrivateTmp=yes"
	}
	if under(allowed...) {
		return ""
	}
	switch {
	case has("ProtectSystem", "strict"):
		return "ProtectSystem=strict"
	case has("ProtectHome", "yes", "true", "1", "on", "read-only", "tmpfs") && under("/home", "/root", "/run/user"):
		return "ProtectHome"
	case has("ProtectSystem", "full") && under("/usr", "/boot", "/etc"):
		return "ProtectSystem=full"
	}
	return ""
}

// seconds reads a span of time as systemd writes it: a plain number is seconds.
func seconds(v string) (time.Duration, error) {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(strings.NewReplacer(" ", "", "min", "m", "sec", "s").Replace(v))
}
