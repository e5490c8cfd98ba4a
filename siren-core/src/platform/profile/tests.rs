use super::*;

#[test]
fn bad_fields_are_named() {
    let with = |change: fn(&mut Profile)| {
        let mut profile = Profile::default();
        change(&mut profile);
        profile.check()
    };
    type Change = fn(&mut Profile);
    let cases: [(&str, Change); 9] = [
        ("starts.cold_ms.p50", |p| p.starts.cold_ms.p50 = -1.0),
        ("storage.get_ms.p99", |p| p.storage.get_ms.p99 = Some(f64::NAN)),
        ("storage.tail_ms.probability", |p| p.storage.tail_ms.probability = 1.5),
        ("storage.reads_per_s", |p| p.storage.reads_per_s = 0.0),
        ("network.function_mb_s", |p| p.network.function_mb_s = f64::INFINITY),
        ("starts.burst", |p| p.starts.burst = 0),
        ("cpu.deviation", |p| p.cpu.deviation = -0.1),
        ("platform.limits.memory_max_mb", |p| p.platform.limits.memory_max_mb = 1),
        ("platform.prices.gb_second", |p| p.platform.prices.gb_second = crate::Usd::new(-1.0)),
    ];
    for (name, change) in cases {
        let error = with(change).unwrap_err();
        assert!(error.message().starts_with(name), "{error}");
    }
    Profile::default().check().unwrap();
    Profile::instant().check().unwrap();
    Profile { storage: Storage::express(), ..Profile::default() }.check().unwrap();
}

/// Compares published quantiles at 50, 90 and 99 %, as far as there are any, with those of
/// 100,000 draws.
#[test]
fn what_is_drawn_has_the_published_quantiles() {
    let Profile { starts, storage, network, .. } = Profile::aws_lambda();
    let express = Storage::express();
    let cases: [(&str, Distribution, [Option<f64>; 3]); 10] = [
        ("GET", storage.get_ms, [Some(26.7), Some(58.0), Some(102.0)]),
        ("PUT", storage.put_ms, [Some(40.7), Some(74.0), Some(122.0)]),
        ("conditional PUT", storage.put_if_unchanged_ms, [Some(61.0), None, Some(103.0)]),
        ("Express GET", express.get_ms, [Some(4.8), None, Some(6.4)]),
        ("Express PUT", express.put_ms, [Some(7.5), None, Some(9.7)]),
        ("INIT", starts.init_ms, [Some(15.2), Some(19.4), Some(30.0)]),
        // The middles of the published ranges: 220 to 290 and 309 to 730, 69 to 80 and 105
        // to 152.
        ("cold start", starts.cold_ms, [Some(255.0), None, Some(520.0)]),
        ("warm start", starts.warm_ms, [Some(74.5), None, Some(128.5)]),
        // 100 MB/s, 5 % of the functions below 98.
        ("reading", network.read_slowdown, [Some(1.0), None, None]),
        // 5.7 s, 13.0 s at 99 %.
        ("writing", network.write_slowdown, [Some(1.0), None, Some(13.0 / 5.7)]),
    ];
    let mut rng = crate::Seed::new(3).rng();
    for (name, distribution, published) in cases {
        // The median of five samples, since a steep tail makes the quantile of one uncertain.
        let mut drawn: Vec<Vec<f64>> = Vec::new();
        for _ in 0..5 {
            let mut draws: Vec<f64> = (0..100_000).map(|_| distribution.draw(&mut rng)).collect();
            draws.sort_by(f64::total_cmp);
            assert!(draws[99_999] <= distribution.max.unwrap_or(f64::INFINITY), "{name}");
            drawn.push(draws);
        }
        for (rank, published) in [50_000, 90_000, 99_000].into_iter().zip(published) {
            let Some(published) = published else { continue };
            let mut at: Vec<f64> = drawn.iter().map(|draws| draws[rank]).collect();
            at.sort_by(f64::total_cmp);
            let off = at[2] / published - 1.0;
            assert!(off.abs() < 0.05, "{name}: {} at {rank}, {published} published", at[2]);
        }
    }
    // The time of writing 512 MiB at the 99th percentile of the slowdown.
    let seconds = network.write_seconds(512 << 20, 13.0 / 5.7);
    assert!((seconds / 13.0 - 1.0).abs() < 0.05, "{seconds} s at 99 %, 13.0 published");
}
