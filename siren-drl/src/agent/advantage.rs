//! Advantages: how much better an action was than expected.

use super::rollout::Trajectory;

/// Generalised advantage estimation (Schulman and others, 2016): with
/// `d_t = r_t + gamma V(s_t+1) - V(s_t)`, the advantages `A_t = d_t + gamma lambda A_t+1` and the
/// returns `A_t + V(s_t)`. The value after the end of an episode is 0. A trajectory that is cut off
/// continues with the last estimate.
pub(super) fn estimate(
    trajectory: &Trajectory,
    values: &[f32],
    scale: f64,
    gamma: f64,
    lambda: f64,
) -> (Vec<f32>, Vec<f32>) {
    let count = trajectory.rewards.len();
    let (mut advantages, mut returns) = (vec![0.0; count], vec![0.0; count]);
    let mut advantage = 0.0;
    for at in (0..count).rev() {
        let goes_on = if trajectory.ends[at] { 0.0 } else { gamma };
        let (now, next) = (f64::from(values[at]), f64::from(values[at + 1]));
        let surprise = trajectory.rewards[at] * scale + goes_on * next - now;
        advantage = surprise + goes_on * lambda * advantage;
        advantages[at] = advantage as f32;
        returns[at] = (advantage + now) as f32;
    }
    (advantages, returns)
}

/// Brings numbers to mean 0 and variance 1.
pub(super) fn standardise(values: &mut [f32]) {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let scale = 1.0 / (variance.sqrt() + 1e-8);
    values.iter_mut().for_each(|value| *value = (*value - mean) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trajectory(rewards: &[f64], ends: &[bool]) -> Trajectory {
        Trajectory { rewards: rewards.to_vec(), ends: ends.to_vec(), ..Trajectory::default() }
    }

    #[test]
    fn with_lambda_1_returns_are_sums_of_discounted_rewards() {
        let trajectory = trajectory(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, false]);
        let values = [0.5, -0.5, 0.25, 7.0, 10.0];
        let (advantages, returns) = estimate(&trajectory, &values, 2.0, 0.5, 1.0);
        // The last step is cut off and continues with the estimate: 2 * 4 + 0.5 * 10.
        assert_eq!(returns, [2.0 + 0.5 * (4.0 + 0.5 * 6.0), 4.0 + 0.5 * 6.0, 6.0, 13.0]);
        for ((advantage, back), value) in advantages.iter().zip(&returns).zip(values) {
            assert!((advantage - (back - value)).abs() < 1e-6);
        }
    }

    #[test]
    fn with_lambda_0_advantages_are_surprises() {
        let trajectory = trajectory(&[1.0, 1.0], &[false, true]);
        let (advantages, _) = estimate(&trajectory, &[3.0, 2.0, 9.0], 1.0, 0.9, 0.0);
        assert!((advantages[0] - (1.0 + 0.9 * 2.0 - 3.0)).abs() < 1e-6);
        assert!((advantages[1] - (1.0 - 2.0)).abs() < 1e-6);
    }

    #[test]
    fn standardised_numbers_have_mean_0_and_variance_1() {
        let mut values = [1.0, 2.0, 3.0, 4.0];
        standardise(&mut values);
        assert!(values.iter().sum::<f32>().abs() < 1e-6);
        assert!((values.iter().map(|x| x * x).sum::<f32>() / 4.0 - 1.0).abs() < 1e-6);
        let mut same = [5.0, 5.0];
        standardise(&mut same);
        assert_eq!(same, [0.0, 0.0]);
    }
}
