use std::sync::Arc;

use candle_core::{DType, Device};

use super::*;
use crate::kernels::cuda::emulation::{Host, output, run};
use crate::kernels::search::cuda::{level_bytes, levels as searched};
use crate::kernels::testing::{close, contexts, zeros};
use crate::network::Variant;
use crate::network::embedded::workspace::levels;

const VIEW: (usize, usize) = (44, 60);

/// The view of a texture that moves.
fn view(moved: f32) -> Tensor {
    let value = |i: usize| {
        let (c, x, y) = (i % 6, i / 6 % VIEW.1, i / 6 / VIEW.1);
        let (x, y) = (2 * x + c % 2, 2 * y + c / 2 % 2);
        let (x, y) = (x as f32 - moved, y as f32 + 0.5 * moved);
        0.2 * (0.31 * x + 0.05 * y).sin() + 0.2 * (0.23 * y - 0.002 * x * x).cos()
    };
    let values = (0..VIEW.0 * VIEW.1 * 6).map(value).collect();
    Tensor::from_vec(values, (VIEW.0, VIEW.1, 6), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Rounding of an encoder's three layers, and of some twenty, in pixels of the picture and in parts of 1; with features of 16 bits each layer loses
/// 2^-11 of its values.
fn tolerances(precision: Precision) -> [f32; 2] {
    match precision {
        Precision::Single => [1e-4, 2e-3],
        Precision::Half => [5e-3, 2e-2],
    }
}

/// The network on a card, which the host plays, beside the CPU.
struct Both {
    precision: Precision,
    network: Arc<Network>,
    host: Host,
    want: Workspace,
    got: Workspace,
    memory: Vec<Vec<f32>>,
    flows: Vec<[Tensor; 2]>,
}

impl Both {
    fn new(variant: Variant, precision: Precision) -> Self {
        let (plain, _) = contexts();
        let network = variant.network().unwrap();
        let on_card = plain.with_precision(precision);
        let [want, got] =
            [plain, on_card].map(|context| network.workspace(&context, VIEW.0, VIEW.1).unwrap());
        let sizes = levels(VIEW);
        let sizes = searched(&sizes, network.config.finest).unwrap();
        let memory = sizes.iter().map(|s| vec![0f32; level_bytes(*s) / 4]);
        let flows = sizes[1..]
            .iter()
            .map(|s| [0; 2].map(|_| zeros(&[s.0, s.1, 2])));
        Self {
            precision,
            host: Host::default(),
            memory: memory.collect(),
            flows: flows.collect(),
            network,
            want,
            got,
        }
    }

    /// A picture that has moved, as both have encoded it: the CPU, the card.
    fn encoded(&mut self, moved: f32) -> [Encoded; 2] {
        let (network, view) = (&self.network, view(moved));
        let [mut want, got] = [&self.want, &self.got].map(|ws| ws.encoded().unwrap());
        network.encode(&mut self.want, &view, &mut want).unwrap();
        let launches = network.encode_launches(&self.host, &self.got, &view, &got);
        run(launches.unwrap());
        let views = [(view, &got)];
        let launches = network.see_launches(&self.host, &self.got, &views);
        run(launches.unwrap());
        let [tolerance, _] = tolerances(self.precision);
        close("fine", &values(&got.fine), &values(&want.fine), tolerance);
        close(
            "coarse",
            &values(&got.coarse),
            &values(&want.coarse),
            tolerance,
        );
        [want, got]
    }

    fn begin(&self, pair: [&Encoded; 2], pace: Option<f32>) {
        let launches = self
            .network
            .begin_launches(&self.host, &self.got, pair, pace);
        run(launches.unwrap());
    }

    fn find(&mut self, pair: [&Encoded; 2], found: &Tensor) {
        let flows = std::iter::once(&self.got.ways).chain(&self.flows);
        let level = |(memory, flows): (&mut Vec<f32>, &[Tensor; 2])| DeviceLevel {
            patches: memory.as_mut_ptr() as u64,
            flows: flows.each_ref().map(output),
        };
        let rooms: Vec<_> = self.memory.iter_mut().zip(flows).map(level).collect();
        let network = &self.network;
        let launches = network.find_launches(&self.host, &self.got, pair, &rooms, found);
        run(launches.unwrap());
    }

    fn search(&mut self, pair: [&[Encoded; 2]; 2], pace: Option<f32>) {
        let [left, right] = pair;
        let network = self.network.clone();
        network
            .search(&mut self.want, &left[0], &right[0], pace)
            .unwrap();
        self.begin([&left[1], &right[1]], pace);
        let found = self.got.found.clone();
        self.find([&left[1], &right[1]], &found);
        self.expect_found();
    }

    fn look_ahead(&mut self, right: &[Encoded; 2], after: Option<(&[Encoded; 2], f32)>) {
        let network = self.network.clone();
        let on_cpu = after.map(|(after, pace)| (&after[0], pace));
        network
            .look_ahead(&mut self.want, &right[0], on_cpu, false)
            .unwrap();
        let found = self.got.ahead().unwrap().found.clone();
        if let Some((after, _)) = after {
            self.find([&right[1], &after[1]], &found);
        }
        let (host, pace) = (&self.host, after.map(|(_, pace)| pace));
        let launch = Network::foresee_launch(host, self.got.ahead().unwrap(), pace);
        run([launch.unwrap()]);
        self.got.follows = true;
        let (got, want) = (self.got.ahead().unwrap(), self.want.ahead().unwrap());
        assert_eq!(values(&got.found), values(&want.found), "motion ahead");
        assert_eq!(values(&got.future), values(&want.future), "motion after");
    }

    fn proceed(&mut self, [left, right]: [&[Encoded; 2]; 2], pace: Option<f32>) {
        let network = self.network.clone();
        network
            .proceed(&mut self.want, &left[0], &right[0], pace)
            .unwrap();
        self.begin([&left[1], &right[1]], pace);
        self.got.exchange().unwrap();
        self.expect_found();
    }

    fn expect_found(&self) {
        let (got, want) = (&self.got, &self.want);
        assert_eq!(values(&got.found), values(&want.found), "motion found");
        assert_eq!(values(&got.past), values(&want.past), "motion before");
    }

    fn estimate(&mut self, [left, right]: [&[Encoded; 2]; 2]) {
        let network = self.network.clone();
        let (h, w) = self.got.sizes.coarse;
        let plane = Tensor::full(0.25f32, (h, w), &Device::Cpu).unwrap();
        // at the phase itself
        for phase in [PhaseMap::Plane(plane), PhaseMap::Uniform(0.5)] {
            let unseen = &mut |_: &str, _: usize, _: &Tensor| ();
            network
                .estimate_observed(&mut self.want, &left[0], &right[0], &phase, unseen)
                .unwrap();
            let pair = [&left[1], &right[1]];
            let launches = network.estimate_launches(&self.host, &self.got, pair, &phase);
            run(launches.unwrap());
            self.expect_motion();
        }
    }

    /// What is carried to other phases from the middle, which was estimated last.
    fn carry(&mut self, [left, right]: [&[Encoded; 2]; 2]) {
        let network = self.network.clone();
        let (h, w) = self.got.sizes.coarse;
        let uneven = Tensor::rand(0.1f32, 0.9, (h, w), &Device::Cpu).unwrap();
        for (keeps, phase) in [
            (true, PhaseMap::Uniform(0.3)),
            (false, PhaseMap::Plane(uneven)),
        ] {
            network
                .estimate(&mut self.want, &left[0], &right[0], &phase)
                .unwrap();
            run(self.got.carry_launches(&self.host, keeps, &phase).unwrap());
            self.expect_motion();
        }
    }

    fn expect_motion(&self) {
        let (got, want) = (&self.got.motion, &self.want.motion);
        let [_, tolerance] = tolerances(self.precision);
        for (what, got, want) in [
            ("flow", &got.flow, &want.flow),
            ("mask", &got.mask, &want.mask),
            ("difference", &got.difference, &want.difference),
        ] {
            let what = format!("{what}, {}", self.precision.name());
            close(&what, &values(got), &values(want), tolerance);
        }
    }
}

#[test]
fn the_whole_network_agrees() {
    for (variant, precision) in [Variant::Fast, Variant::Balanced]
        .into_iter()
        .flat_map(|v| Precision::ALL.map(|p| (v, p)))
    {
        let mut both = Both::new(variant, precision);
        let [a, b] = [0.0, 5.0].map(|moved| both.encoded(moved));
        for pace in [None, Some(0.5)] {
            both.search([&a, &b], pace);
            both.estimate([&a, &b]);
            both.carry([&a, &b]);
        }
    }
}

#[test]
fn trajectories_agree() {
    let mut both = Both::new(Variant::Balanced, Precision::Half);
    let [a, b, c] = [0.0, 5.0, 13.0].map(|moved| both.encoded(moved));
    both.search([&a, &b], None);
    both.look_ahead(&b, None);
    both.estimate([&a, &b]);
    both.look_ahead(&b, Some((&c, 0.8)));
    both.estimate([&a, &b]);
    both.carry([&a, &b]);
    both.proceed([&b, &c], Some(1.25));
    both.look_ahead(&c, None);
    both.estimate([&b, &c]);
    both.carry([&b, &c]);
    both.got.follow_none();
    both.want.follow_none();
    both.estimate([&b, &c]);
}
