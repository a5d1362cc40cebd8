package main

// The control plane but for the API server: embedded etcd, the real kube-scheduler and
// kube-controller-manager, all in this process. Nothing is imitated: these are the upstream
// packages, started as their own main functions start them, but for the set-up of logging, which
// may run only once in a process.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	cliflag "k8s.io/component-base/cli/flag"

	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// startEtcd starts etcd in this process and returns its client URL.
func startEtcd(dir string) (clientURL string, err error) {
	port := freePort()
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.UnsafeNoFsync = true // a test bed: speed before durability
	cfg.LogLevel = "error"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	client := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	peer := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", freePort())}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return "", err
	}
	select {
	case <-e.Server.ReadyNotify():
		return client.String(), nil
	case <-time.After(30 * time.Second):
		return "", fmt.Errorf("etcd not ready after 30 s")
	}
}

// parse fills a component's options from command-line style arguments.
func parse(named cliflag.NamedFlagSets, args []string) error {
	fs := pflag.NewFlagSet("kubebed", pflag.ContinueOnError)
	for _, f := range named.FlagSets {
		fs.AddFlagSet(f)
	}
	return fs.Parse(args)
}

func runControllerManager(ctx context.Context, args []string) error {
	s, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	named := s.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	s.ParsedFlags = &named
	if err := parse(named, args); err != nil {
		return err
	}
	c, err := s.Config(ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err != nil {
		return err
	}
	return kcm.Run(ctx, c.Complete())
}

func runScheduler(ctx context.Context, args []string) error {
	o := scheduleroptions.NewOptions()
	if err := parse(*o.Flags, args); err != nil {
		return err
	}
	cc, sched, err := scheduler.Setup(ctx, o)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, cc, sched)
}

func controllerManagerArgs(o options) []string {
	return []string{
		"--kubeconfig=" + o.kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file=" + o.pki("sa.key"), "--root-ca-file=" + o.pki("ca.crt"),
		"--use-service-account-credentials=false",
		"--kube-api-qps=200", "--kube-api-burst=300",
		"--controllers=" + strings.Join([]string{
			"namespace-controller", "serviceaccount-controller", "root-ca-certificate-publisher-controller",
			"garbage-collector-controller", "pod-garbage-collector-controller",
			"persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
			"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller", "job-controller",
			"disruption-controller", "resourcequota-controller", "clusterrole-aggregation-controller", "taint-eviction-controller",
			"service-cidr-controller",
		}, ","),
	}
}

func schedulerArgs(o options) []string {
	return []string{
		"--kubeconfig=" + o.kubeconfig, "--authentication-kubeconfig=" + o.kubeconfig, "--authorization-kubeconfig=" + o.kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=300",
	}
}

// given are the ports that freePort has given out.
var given = map[int]bool{}

// freePort finds a port that nothing listens on, below the range that the system takes ports of
// outgoing connections from: the API server must find its port free again after an outage.
func freePort() int {
	const first, count = 30_000, 2_700
	begin := rand.IntN(count)
	for i := range count {
		port := first + (begin+i)%count
		if given[port] {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			given[port] = true
			return port
		}
	}
	panic("no free port")
}
