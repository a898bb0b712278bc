package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// composeFile is of compose.yaml what has to fit with other files.
type composeFile struct {
	Services map[string]struct {
		Image, Command  any
		Environment     map[string]string
		Volumes, Ports  []string
		Profiles        []string
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
		MemLimit        string   `yaml:"mem_limit"`
		StopGracePeriod string   `yaml:"stop_grace_period"`
		ReadOnly        bool     `yaml:"read_only"`
	}
	Volumes map[string]any
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readFile(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readCompose(t *testing.T) (c composeFile) {
	t.Helper()
	readYAML(t, "../../../compose.yaml", &c)
	return c
}

func TestComposeFile_IsConfinedAndHasNoPasswordByDefault(t *testing.T) {
	t.Parallel()
	text := readFile(t, "../../../compose.yaml")
	for _, line := range regexp.MustCompile(`(?m)^.*(PASSWORD|SECRET):? .*\$\{.*$`).FindAllString(text, -1) {
		if !strings.Contains(line, ":?is missing}") {
			t.Errorf("may be left out: %s", line)
		}
	}
	for name, s := range readCompose(t).Services {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has capabilities, or may get them: %v, %v", name, s.CapDrop, s.SecurityOpt)
		}
		if name != "postgres" && !s.ReadOnly {
			t.Errorf("%s can write to its image", name)
		}
		if name != "migrate" && s.MemLimit == "" {
			t.Errorf("%s has no limit of memory", name)
		}
		if image, _ := s.Image.(string); !strings.HasPrefix(image, "${") {
			t.Errorf("%s: the image %v can't be another", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.Contains(port, ":-127.0.0.1:") {
				t.Errorf("%s is in reach of other machines unless told otherwise: %s", name, port)
			}
		}
	}
}

func TestComposeFile_NamesWhatThereIs(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			if _, named := c.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat("../../../" + from); err != nil || !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s: %s: is not there, or can be written: %v", name, volume, err)
			}
		}
	}
	var instances []string
	for name, s := range c.Services {
		if !strings.HasPrefix(name, "notifier-") {
			continue
		}
		instances = append(instances, name)
		const drained = 15 * time.Second // --drain and --close-timeout
		if grace, err := time.ParseDuration(s.StopGracePeriod); err != nil || grace <= drained {
			t.Errorf("%s is killed after %s, before it has ended in order", name, s.StopGracePeriod)
		}
		if s.Environment["NOTIFIER_ADMIN_URL"] != "http://"+name+":9090" || s.Environment["GOMEMLIMIT"] == "" {
			t.Errorf("%s: %v", name, s.Environment)
		}
		if !strings.Contains(readFile(t, "haproxy.cfg"), "\n  server "+name+" "+name+":8080\n") {
			t.Errorf("the balancer does not know %s", name)
		}
	}
	var scraped struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus.yaml", &scraped)
	slices.Sort(instances)
	if got := strings.Join(scraped.ScrapeConfigs[0].StaticConfigs[0].Targets, " "); got != strings.Join(instances, ":9090 ")+":9090" {
		t.Errorf("Prometheus scrapes %s, there are %v", got, instances)
	}
	if got := c.Services["prometheus"].Volumes; len(scraped.RuleFiles) != 1 || !slices.Contains(got, "./cmd/notifier/deploy/alerts.yaml:"+scraped.RuleFiles[0]+":ro") {
		t.Errorf("the rules %v are not among %v", scraped.RuleFiles, got)
	}
}

// Grafana can't be run here: so its files are compared with what they name.
func TestGrafana_FindsPrometheusAndTheBoard(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Type, URL string
			IsDefault bool `yaml:"isDefault"`
		}
	}
	readYAML(t, "grafana/datasource.yaml", &sources)
	if s := sources.Datasources; sources.APIVersion != 1 || len(s) != 1 || s[0].Type != "prometheus" || s[0].URL != "http://prometheus:9090" || !s[0].IsDefault {
		t.Errorf("sources %+v", sources)
	}
	if _, ok := c.Services["prometheus"]; !ok {
		t.Error("there is no prometheus")
	}
	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/dashboards.yaml", &boards)
	if boards.APIVersion != 1 || len(boards.Providers) != 1 || boards.Providers[0].Type != "file" {
		t.Fatalf("boards %+v", boards)
	}
	home := c.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if !strings.HasPrefix(home, boards.Providers[0].Options.Path+"/") ||
		!slices.Contains(c.Services["grafana"].Volumes, "./cmd/notifier/deploy/grafana.json:"+home+":ro") {
		t.Errorf("the board %s is not where it is looked for, %s", home, boards.Providers[0].Options.Path)
	}
}

// The image is built by the Go that go.mod asks for.
func TestDockerfile_HasTheModulesGo(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "../../../go.mod"))[1]
	for _, path := range []string{"Dockerfile", "../../../compose.yaml"} {
		if !strings.Contains(readFile(t, path), "golang:"+version+"-bookworm") {
			t.Errorf("%s does not name golang:%s-bookworm", path, version)
		}
	}
}

// README.md has the passwords written beside compose.yaml: they belong neither into the repository nor into the image.
func TestPasswordsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	if !slices.Contains(strings.Split(readFile(t, "../../../.gitignore"), "\n"), "/.env") {
		t.Error("git takes .env")
	}
	if lines := strings.Split(readFile(t, "../../../.dockerignore"), "\n"); !slices.Contains(lines, "*") || slices.Contains(lines, "!.env") {
		t.Error("the image is built from .env, too")
	}
}
